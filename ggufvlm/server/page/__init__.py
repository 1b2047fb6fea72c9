"""The web page of the server: plain HTML, CSS and JavaScript, in ``static``. No build, nothing from elsewhere."""
