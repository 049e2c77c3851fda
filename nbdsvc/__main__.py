"""python -m nbdsvc"""

from nbdsvc.cli import main

if __name__ == "__main__":
    main()
