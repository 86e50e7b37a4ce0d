"""The web server: page shell, template tags, errors, limits, health and sockets."""
