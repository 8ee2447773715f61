"""What every chapter uses: messages, paths, files, pictures, intervals, progress."""
