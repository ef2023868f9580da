"""Written form of recognised text: numbers in figures, fillers left out, sentences and paragraphs."""
