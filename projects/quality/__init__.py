"""Quality of a project's data: issues of images, hard examples, label balance."""
