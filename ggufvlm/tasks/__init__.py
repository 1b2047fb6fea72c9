"""Tasks, one a file: what is asked, what an answer has to look like, and what is made of it."""
