"""The engine's command line: fit, evaluate, predict, latency and networks, with no database.

Exit codes: 0 success, 1 an expected failure, explained in one sentence on standard error, 2 wrong usage,
130 interrupted.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from training.engine.backbones import weights
from training.engine.backbones.latency import estimate_total_ms
from training.engine.backbones.registry import NETWORKS, get_network
from training.engine.bundle.bundle import Bundle
from training.engine.config import EngineError, Event, FitConfig, Hardware, Sample
from training.engine.data import layouts
from training.engine.evaluation.evaluate import evaluate
from training.engine.evaluation.number_formats import NumberFormatChoice, choose_number_format

CommandOutput = dict[str, Any]


def main(arguments: Sequence[str]) -> int:
    """Run one command; gives the exit code."""
    options = _parser().parse_args(arguments)
    commands = {
        "fit": _fit_command,
        "evaluate": _evaluate_command,
        "predict": _predict_command,
        "latency": _latency_command,
        "networks": _networks_command,
    }
    try:
        output = commands[options.command](options)
    except EngineError as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    sys.stdout.write(json.dumps(output, ensure_ascii=False) + "\n" if options.json else _as_text(output))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m training.engine", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fit = commands.add_parser("fit", help="train a model")
    fit.add_argument("source", type=Path, metavar="DATA")
    fit.add_argument("--out", type=Path, required=True, metavar="DIR")
    fit.add_argument("--minutes", type=float, default=6)
    fit.add_argument("--max-inference-ms", type=float, default=500)
    fit.add_argument(
        "--train-ratio",
        type=float,
        help="share of the images to train on, where DATA has no validation images; default 0.8, or all "
        "where DATA has test images, which `fit` never opens",
    )
    fit.add_argument("--base", type=_bundle_path, metavar="BUNDLE")
    fit.add_argument("--unlabeled", type=Path, metavar="DIR", help="a folder of images without labels")
    fit.add_argument("--seed", type=int, default=0)
    fit.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    evaluation = commands.add_parser("evaluate", help="evaluate a model on labeled images")
    evaluation.add_argument("bundle", type=_bundle_path, metavar="BUNDLE")
    evaluation.add_argument("source", type=Path, metavar="DATA")
    predict = commands.add_parser("predict", help="predict the labels of images")
    predict.add_argument("bundle", type=_bundle_path, metavar="BUNDLE")
    predict.add_argument("files", type=Path, nargs="+", metavar="FILE")
    latency = commands.add_parser("latency", help="milliseconds for one image")
    latency.add_argument("bundle", type=_bundle_path, metavar="BUNDLE")
    for command in (fit, latency):
        command.add_argument("--hardware", choices=("CPU", "NV_P4"), default="NV_P4")
    networks = commands.add_parser("networks", help="list the networks and the files of their weights")
    networks.add_argument("--fetch", nargs="+", metavar="NAME", default=[], help="download weights first")
    for command in (fit, evaluation, predict, latency):
        command.add_argument("--threads", type=int)
    for command in (fit, evaluation, predict, latency, networks):
        command.add_argument("--json", action="store_true", help="print one JSON object last")
    return parser


def _bundle_path(text: str) -> Path:
    """The path of a bundle, which may be given by the folder of the fit that made it."""
    path = Path(text)
    return path / "bundle" if (path / "bundle" / "bundle.json").is_file() else path


def _fit_command(options: argparse.Namespace) -> CommandOutput:
    began = time.monotonic()  # loading the libraries counts as well
    from training.engine.fit import fit

    if options.train_ratio is not None and not 0 < options.train_ratio < 1:
        raise EngineError("The train ratio must lie between 0 and 1.", "Try 0.8.")
    samples = layouts.samples_for_fit(options.source, options.train_ratio, options.seed, options.threads)
    config = FitConfig(
        max_seconds=max(60 * options.minutes - (time.monotonic() - began), 1),
        hardware=options.hardware,
        max_inference_ms=options.max_inference_ms,
        base_bundle=options.base,
        is_multi_label=any(len(sample.labels) != 1 for sample in samples),
        seed=options.seed,
        device=options.device,
        threads=options.threads,
    )
    unlabeled = layouts.files_of(options.unlabeled) if options.unlabeled else []
    result = fit(samples, config, options.out, _print_progress, lambda: False, unlabeled)
    sys.stderr.write("\n" if sys.stderr.isatty() else "")
    left_s = config.max_seconds - (time.monotonic() - began)
    choice = _evaluate_validation(result.bundle, samples, options.threads, left_s)
    evaluation = choice.evaluation if choice else None
    return {
        "bundle": str(result.bundle),
        "accuracy": evaluation.report.accuracy.value if evaluation else result.best.accuracy,
        "macro_f1": evaluation.report.macro_f1 if evaluation else result.macro_f1,
        "number_format": choice.default if choice else "float32",
        "number_formats": [asdict(report) for report in choice.reports] if choice else [],
        "best": asdict(result.best),
        "candidates": [asdict(candidate) for candidate in result.candidates],
        "stop_reason": result.stop_reason,
        "seconds": result.seconds_by_phase,
        "images_per_second": result.images_per_second,
        "peak_rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "unreadable": list(result.unreadable),
        "notes": list(result.notes),
        "device": result.device,
    }


def _evaluate_validation(
    bundle: Path, samples: list[Sample], threads: int | None, left_s: float
) -> NumberFormatChoice | None:
    held_out = [sample for sample in samples if sample.split == "EVAL"]
    if not held_out:
        return None
    began = time.monotonic()
    exact = evaluate(bundle, held_out, threads=threads)
    return choose_number_format(bundle, held_out, exact, threads, left_s - (time.monotonic() - began))


def _evaluate_command(options: argparse.Namespace) -> CommandOutput:
    evaluation = evaluate(
        options.bundle, layouts.samples_for_evaluation(options.source), threads=options.threads
    )
    figures = evaluation.report
    return {
        "accuracy": figures.accuracy.value,
        "macro_f1": figures.macro_f1,
        "macro_precision": figures.macro_precision,
        "macro_recall": figures.macro_recall,
        "per_label": [asdict(report) for report in figures.per_label],
        "n": figures.n,
        "unreadable": list(evaluation.unreadable),
    }


def _predict_command(options: argparse.Namespace) -> CommandOutput:
    bundle = Bundle.load(options.bundle, options.threads)
    predictions = []
    for file in options.files:
        prediction = bundle.answer(file)
        ranked = sorted(
            zip(bundle.labels, map(float, prediction.scores), strict=True), key=lambda pair: -pair[1]
        )
        entry = {"file": str(file), "predicted": list(prediction.predicted_labels), "scores": ranked[:5]}
        predictions.append(entry | asdict(prediction.novelty_score))
    return {"predictions": predictions}


def _latency_command(options: argparse.Namespace) -> CommandOutput:
    from PIL import Image

    bundle = Bundle.load(options.bundle, options.threads)
    hardware: Hardware = options.hardware
    if hardware == "CPU":
        photo = Image.effect_noise((800, 600), 60).convert("RGB")
        return {"hardware": hardware, "is_measured": True, **asdict(bundle.measure_time([photo]))}
    parts = [
        (get_network(member["network"]), member["resolution"]) for member in bundle.description["members"]
    ]
    ms = estimate_total_ms(parts, hardware)
    return {"hardware": hardware, "is_measured": False, "ms": ms}


def _networks_command(options: argparse.Namespace) -> CommandOutput:
    for name in options.fetch:
        network = get_network(name)
        if not network.package:
            weights.download(network.timm_name)
    return {
        "networks": [
            {
                "name": network.name,
                "timm_name": network.timm_name,
                "licence": network.licence,
                "is_noncommercial": network.is_noncommercial,
                "file": str(file) if (file := network.weights_file()) else None,
                "resolutions": list(network.resolutions),
                "parameters": network.parameters,
                "macs": network.macs,
            }
            for network in NETWORKS
        ]
    }


def _print_progress(event: Event) -> None:
    """Print a line for each event, or on a terminal a single line with a progress bar."""
    if not sys.stderr.isatty():
        if event.kind != "progress":
            sys.stderr.write(f"{event.elapsed_s:7.1f} s  {event.message}\n")
        return
    bar = "#" * round(20 * (event.fraction or 0))
    sys.stderr.write(f"\r{event.elapsed_s:6.0f} s [{bar:<20}] {event.message[:70]:<70}")
    sys.stderr.flush()


def _as_text(output: CommandOutput) -> str:
    """One line for each figure; lists and tables are printed with --json alone."""
    lines = [f"{name}: {value}" for name, value in output.items() if not isinstance(value, list | dict)]
    for entry in output.get("predictions", []):
        lines.append(f"{entry['file']}: {', '.join(entry['predicted'])} ({entry['scores'][0][1]:.3f})")
    for entry in output.get("networks", []):
        missing = f"not on this machine: {entry['timm_name']}.safetensors"
        licence = (
            f"{entry['licence']} (not for commercial use)" if entry["is_noncommercial"] else entry["licence"]
        )
        size = f"{entry['macs'] / 1e9:4.1f} G"
        lines.append(f"{entry['name']:<21} {size}  {licence:<37} {entry['file'] or missing}")
    return "\n".join(lines) + "\n"
