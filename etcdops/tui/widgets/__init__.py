"""What screens are made of. Every widget draws `model.text.Line`s through one painter."""
