"""The answer for papers and programs: JSON with its schema, LaTeX tables and BibTeX."""
