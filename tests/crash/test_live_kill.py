#!/usr/bin/env python3
"""SIGKILL of `mds serve` at random points under a mixed write load: whatever was answered is there after the restart, byte for byte, and what was
under way is there as a whole or not at all. MDS_KILL_ROUNDS=200 for the long run.
"""
import os
import random
import signal
import sys
import time

from live_lib import Broken, Client, State, check
from mdslab import Lab

ROUNDS = int(os.environ.get("MDS_KILL_ROUNDS", "8"))
SEED = int(os.environ.get("SEED", "1"))
CLIENTS = 5
VERIFY_EVERY = 10


def kill_round(lab, clients, states, rng, verify):
    server = lab.serve()
    try:
        for client in clients:
            client.begin(server, "ann", "secret")
        for client in clients:
            client.start()
        time.sleep(0.02 + rng.random() ** 2 * 1.2)
        server.process.send_signal(signal.SIGKILL)
    finally:
        server.process.kill()
        server.process.wait()
        server.process.stdout.close()
    for client in clients:
        client.join(60)
        if client.failure:
            raise client.failure
    done = sum(op.done is not None for client in clients for op in client.ops)
    with lab.serve() as again, again.login("ann", "secret") as imap:
        seen = [client.look(imap) for client in clients]
    for client, start, what in zip(clients, states, seen):
        check(client.name, client.ops, client.clock(), what, start)
    if verify:
        lab.mds("verify", "--store", lab.store, "--archive", "mail", "--items", "--progress", "none")
    return seen, done


def main():
    print(f"SEED={SEED} rounds={ROUNDS}")
    rng = random.Random(SEED)
    states = [{} for _ in range(CLIENTS)]
    total = 0
    with Lab() as lab:
        lab.mds("archive", "add", "--store", lab.store, "mail")
        lab.add_user("mail", "ann", "secret")
        for number in range(ROUNDS):
            clients = []
            for k in range(CLIENTS):
                client = Client(f"c{k}", f"{SEED} {number}")
                client.folders_made = number * 1000
                client.state = State(states[k])
                clients.append(client)
            try:
                states, done = kill_round(lab, clients, states, rng, number % VERIFY_EVERY == 0 or number == ROUNDS - 1)
            except Broken as why:
                print(f"round {number}: {why}")
                if os.environ.get("MDS_KEEP"):
                    print(f"kept: {lab.dir}")
                    lab.__class__.__exit__ = lambda *_: None
                sys.exit(1)
            total += done
            if number % 20 == 0:
                print(f"round {number}: {done} operations answered before the kill")
        assert total > 20 * ROUNDS, f"only {total} operations were answered: nothing was tested"
    print(f"{ROUNDS} kills, {total} operations answered, all of them kept")


main()
