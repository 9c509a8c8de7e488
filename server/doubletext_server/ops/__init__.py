"""What the operator of the server looks at."""
