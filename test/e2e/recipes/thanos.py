"""Samples for Prometheus, and what it and Thanos answer of them: python thanos.py samples FOLDER END MARKER | answers URL END"""
import hashlib
import json
import random
import sys
import urllib.parse
import urllib.request

HOURS, STEP, SERIES, PARTS = 96, 60, 280, 4


def samples(folder: str, end: int, marker: str) -> None:
    """One file of OpenMetrics for each two hours, so that each becomes one block. Random values, which do not pack."""
    names = [f'recipe_value{{series="{i}",part="{i % PARTS}",note="{marker}"}}' for i in range(SERIES)]
    for number in range(HOURS // 2):
        begin = end - (HOURS - 2 * number) * 3600
        with open(f'{folder}/{number:02}', 'w') as out:
            out.write('# TYPE recipe_value gauge\n')
            for name in names:
                out.writelines(f'{name} {random.random()} {at}\n' for at in range(begin, begin + 7200, STEP))
            out.write('# EOF\n')


def ask(url: str, path: str, **parameters: object) -> list:
    query = urllib.parse.urlencode({**parameters, 'dedup': 'false', 'partial_response': 'false', 'max_source_resolution': '0s'})
    with urllib.request.urlopen(f'{url}/api/v1/{path}?{query}', timeout=300) as response:
        answer = json.load(response)
    assert answer['status'] == 'success' and not answer.get('warnings'), answer.get('warnings')
    rows = answer['data']['result']
    for row in rows:  # Thanos has the labels of the whole Prometheus in addition
        for label in ('cluster', 'replica'):
            row['metric'].pop(label, None)
    return sorted(rows, key=lambda row: json.dumps(row['metric'], sort_keys=True))


def answers(url: str, end: int) -> None:
    """A line for each question: how many series and samples came, and their SHA-256. Asked between two samples: releases differ in which end of a range counts."""
    now, begin = end - 60 + 7, end - HOURS * 3600 + 7
    raw = [('query', {'query': f'recipe_value{{part="{part}"}}[{HOURS}h]', 'time': now}) for part in range(PARTS)]
    ranges = [
        ('query_range', {'query': query, 'start': begin, 'end': now, 'step': step})
        for query, step in [
            ('max by (part) (recipe_value)', 60), ('quantile by (part) (0.9, recipe_value)', 300), ('count(recipe_value > 0.5)', 300),
            ('max_over_time(recipe_value{series=~"1.."}[30m])', 900), ('topk(3, delta(recipe_value[10m]))', 3600)
        ]
    ]
    for path, parameters in raw + ranges:
        rows = ask(url, path, **parameters)
        count = sum(len(row['values']) for row in rows)
        assert count > 0, parameters
        print(parameters['query'], len(rows), count, hashlib.sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest())


if sys.argv[1] == 'samples':
    samples(sys.argv[2], int(sys.argv[3]), sys.argv[4])
else:
    answers(sys.argv[2], int(sys.argv[3]))
