"""Division of text into lines and subtitles."""
