"""What happened and what was used: rows that are only appended, counted or limited."""
