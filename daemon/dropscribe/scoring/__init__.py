"""Compare transcripts with references and with each other: error rates, confusions, differences. Pure, except `pairs`."""
