"""What the page says, in words, tables and figures, and its forms: HTML, Markdown, JSON."""
