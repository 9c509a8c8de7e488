"""SQL text made of the columns that doubletext_server.store.rows names."""

from doubletext_server.store.rows import Columns


def listed(columns: Columns) -> str:
    return ", ".join(columns)


def listed_of(table: str, columns: Columns) -> str:
    return ", ".join(f"{table}.{column}" for column in columns)


def placeholders(columns: Columns) -> str:
    return ", ".join("?" * len(columns))


def insert(table: str, columns: Columns) -> str:
    return f"INSERT INTO {table} ({listed(columns)}) VALUES ({placeholders(columns)})"


def update(table: str, columns: Columns, key: str) -> str:
    """The values of the columns, then that of the key."""
    return f"UPDATE {table} SET {', '.join(f'{column} = ?' for column in columns)} WHERE {key} = ?"
