"""Small tools without models or templates, which every app may import."""
