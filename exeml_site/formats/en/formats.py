"""ISO 8601 wherever exeml_site/lib/display.py does not format a time: in the admin."""

DATE_FORMAT = "Y-m-d"
DATETIME_FORMAT = "Y-m-d H:i:s"
