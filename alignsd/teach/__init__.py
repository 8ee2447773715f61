"""Tools of a lesson: guesses, sliders, exercises with checks, code that is shown."""
