"""Many images in one run: inputs, what is known already, writers. Knows no llama.cpp and no terminal."""
