"""You choose: decks of questions, votes on disk, the chooser, and what the votes say."""
