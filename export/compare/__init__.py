"""How far an export lies from where it came from: tokens, logits, answers."""
