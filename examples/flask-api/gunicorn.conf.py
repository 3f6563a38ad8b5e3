"""gunicorn behind the gateway. https://docs.gunicorn.org/en/stable/settings.html"""

bind = "0.0.0.0:5000"
# Threads keep connections open between requests; sync workers would close each after one answer.
worker_class = "gthread"
workers = 2
threads = 8
# How long a connection may idle. The gateway's keepalive_idle (1500ms) must stay below it.
keepalive = 2
# On SIGTERM: requests under way have so long to end.
graceful_timeout = 20
timeout = 120
# The root file system is read-only.
worker_tmp_dir = "/dev/shm"
accesslog = None
errorlog = "-"
