"""Alternative texts for the images of web pages and Markdown files."""
