"""Lets torchvision be imported where its C++ operators do not load, as beside a processor's torch."""

import sys
import types

import torch

if not torch.cuda.is_available():
    sys.modules.setdefault("torchvision._meta_registrations", types.ModuleType("_meta_registrations"))
