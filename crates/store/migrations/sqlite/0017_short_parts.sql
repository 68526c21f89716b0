-- Nothing to do: SQLite looks through the names in order, in a few milliseconds for a hundred thousand. The number keeps the
-- migrations of both databases in step.
SELECT 1;
