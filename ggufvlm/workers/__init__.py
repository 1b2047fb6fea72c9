"""Child processes and threads that work ahead, whatever they work on: this room knows neither images nor models."""
