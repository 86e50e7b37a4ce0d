"""What the web server does around Django: limits, health, and who may open a socket."""
