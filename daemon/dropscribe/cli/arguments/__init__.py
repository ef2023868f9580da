"""What a command line may contain: shared options, settings in force, help pages, usage errors."""
