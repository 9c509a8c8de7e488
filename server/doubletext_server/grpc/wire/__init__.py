"""Between messages and the values of the domain: `reading` takes requests apart, `writing` makes answers."""
