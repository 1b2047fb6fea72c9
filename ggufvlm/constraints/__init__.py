"""How an answer is held to a shape: what a user gives becomes a grammar of llguidance, and a check of the answer."""
