"""Make the files of transcripts: in publishing processes where there are cores for them, else in the lanes."""
