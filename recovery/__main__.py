from recovery.main import run

run()
