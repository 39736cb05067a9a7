"""`python manage.py up`: one supervisor for the web server, the workers, cron and Redis."""
