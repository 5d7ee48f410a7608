"""The embedded model: a small llama.cpp server, a service of its own.

It makes a fresh machine answer without a key and without a download by hand.
SmolLM2-135M-Instruct is fluent and often wrong: it shows the way, it is nobody's production model.
"""
