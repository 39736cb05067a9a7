"""Groups of three digits, as scripts write them; Django's own format has groups of four and no sign."""

THOUSAND_SEPARATOR = ","
NUMBER_GROUPING = 3
