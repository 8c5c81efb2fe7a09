"""Rules that say what eats a student's speed-up."""
