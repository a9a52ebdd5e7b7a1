"""Monitors that tests judge epochs with."""


class Rising:
    """Keeps the last epoch, whatever it is worth."""

    def __init__(self):
        self.calls = 0

    def __call__(self, embedding, labels):
        self.calls += 1
        return self.calls
