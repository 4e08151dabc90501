// versitygw's own test suite (`versitygw test full-flow`), which expects AWS's answers: against a store, and every test that passes there again
// through the gateway, each in a process of its own because some tests end in a panic where others would fail. A process counts its buckets from
// 1, so that what a test leaves is removed from the store's folder, and no two run at once.
//   IAM=1 test/e2e/stores/versitygw.sh node test/e2e/versitygw-suite.ts
//   IAM=1 VERSIONS=1 test/e2e/stores/versitygw.sh node test/e2e/versitygw-suite.ts --versions
// --only TEXT: the tests whose names contain it. --direct FILE: where the output of the run against the store itself is kept; if it is there,
// it is not run again. versitygw-suite.json has the tests that do not pass, by reason. Prints what fails without a reason, and what has a
// reason and passes; ends with 1 if there is either.
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { delimiter, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { text } from 'node:stream/consumers'
import { parseArgs, stripVTControlCharacters } from 'node:util'

const { values } = parseArgs({
  options: {
    'store': { type: 'string', default: '' },
    'access-key': { type: 'string', default: '' },
    'secret-key': { type: 'string', default: '' },
    'versions': { type: 'boolean', default: false },
    'direct': { type: 'string', default: '' },
    'only': { type: 'string', default: '' }
  }
})
const path = (process.env['PATH'] ?? '').split(delimiter).map((folder) => join(folder, 'versitygw'))
const program = process.env['VERSITYGW'] ?? path.find(existsSync)
if (program === undefined) throw new Error('not installed: versitygw')
const binary = resolve(program)
const reasons = JSON.parse(await readFile(join(import.meta.dirname, 'versitygw-suite.json'), 'utf8')) as Record<string, string[]>
const reasonOf = new Map(Object.entries(reasons).flatMap(([reason, names]) => names.map((name) => [name, reason] as const)))

// The suite makes users with ./versitygw, wherever it runs. They are made at the store, and each is a client of the gateway with this identity at the store.
const folder = await mkdtemp(join(tmpdir(), 'sealgate-suite-'))
const answers: (() => void)[] = []
/** Writes to the gateway; null while the store itself is asked. */
let tell: ((line: string) => void) | null = null
const control = createServer((request, response) => {
  const { searchParams } = new URL(request.url ?? '', 'http://localhost')
  const identity = { accessKeyId: searchParams.get('a'), secretAccessKey: searchParams.get('s') }
  if (tell === null) {
    response.end()
    return
  }
  answers.push(() => response.end())
  tell(`${JSON.stringify({ ...identity, buckets: ['*'], upstream: identity })}\n`)
}).listen(0, '127.0.0.1')
await once(control, 'listening')
await writeFile(
  join(folder, 'versitygw'),
  `#!/usr/bin/env bash
args=() access= secret= made=
while [ $# -gt 0 ]; do
  case $1 in
    -er) args+=(-er '${values.store}'); shift 2; continue;;
    create-user) made=1;;
    -a) access=$2;;
    -s) secret=$2;;
  esac
  args+=("$1"); shift
done
'${binary}' "\${args[@]}" || exit
[ -z "$made" ] || curl -fsS "http://127.0.0.1:${(control.address() as AddressInfo).port}/?a=$access&s=$secret"
`,
  { mode: 0o700 }
)
const otherNames: Readonly<Record<string, string>> = {
  GetBucketTagging_non_existing_object: 'GetBucketTagging_non_existing_bucket',
  CopyObject_CopySource_starting_with_slash: 'CopyObject_copy_source_starting_with_slash',
  CompleteMultipartUpload_should_calculate_the_final_checksum: 'CompleteMultipartUpload_should_calculate_the_final_checksum_full_object'
}
const { AWS_CA_BUNDLE: _, ...env } = process.env

async function suite(endpoint: string, test: string, seconds: number): Promise<{ readonly passed: boolean; readonly said: string }> {
  const flags = values.versions ? ['--versioning-enabled'] : []
  const child = spawn(binary, ['test', '-a', values['access-key'], '-s', values['secret-key'], '-e', endpoint, test, ...flags], {
    cwd: folder,
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: seconds * 1000
  })
  const [out, err, [code]] = await Promise.all([text(child.stdout), text(child.stderr), once(child, 'exit')])
  return { passed: code === 0, said: stripVTControlCharacters(`${out}\n${err}`) }
}

const known = values.direct !== '' && existsSync(values.direct)
const direct = known ? await readFile(values.direct, 'utf8') : (await suite(values.store, 'full-flow', 1800)).said
if (values.direct !== '' && !known) await writeFile(values.direct, direct)
const named = (word: string): Set<string> => new Set([...direct.matchAll(new RegExp(`^${word} +(\\w+)`, 'gmu'))].map(([, name = '']) => name))
const passing = named('PASS')
process.stdout.write(`the store itself: ${passing.size} of ${named('RUN').size}\n`)

const rig = spawn(process.execPath, [
  join(import.meta.dirname, 'rig.ts'),
  ...['store', 'access-key', 'secret-key'].flatMap((name) => [`--${name}`, String(values[name as 'store'])]),
  ...['--as-aws', '--client', `${values['access-key']}:${values['secret-key']}`]
], { stdio: ['pipe', 'pipe', 'inherit'] })
const lines = createInterface(rig.stdout)
const [line] = await once(lines, 'line') as [string]
tell = (text) => rig.stdin.write(text)
lines.on('line', () => answers.shift()?.())
const { http } = JSON.parse(line) as { http: string }

const folders = process.env['STORE_DATA']?.split(':')
if (folders === undefined) throw new Error('STORE_DATA names no folders')
async function tidy(): Promise<void> {
  for (const at of folders ?? []) {
    const left = (await readdir(at)).filter((name) => !name.startsWith('sealgate-'))
    await Promise.all(left.map(async (name) => rm(join(at, name), { recursive: true })))
  }
}

const chosen = [...passing].filter((name) => name.includes(values.only))
const counts = new Map<string, number>()
let passed = 0
let faults = 0
for (const name of chosen) {
  const result = await suite(http, otherNames[name] ?? name, 120)
  const reason = reasonOf.get(name)
  if (result.passed) passed += 1
  else await tidy()
  if (result.passed !== (reason === undefined)) {
    faults += 1
    const why = /^(?:FAIL \w+:|panic:|.*error: ) *(.*)/mu.exec(result.said)?.[1] ?? result.said.slice(-200)
    process.stdout.write(result.passed ? `passes: ${name} (${reason ?? ''})\n` : `fails: ${name}: ${why}\n`)
  } else if (reason !== undefined) counts.set(reason, (counts.get(reason) ?? 0) + 1)
}
for (const [reason, count] of counts) process.stdout.write(`${String(count).padStart(4)} ${reason}\n`)
process.stdout.write(`through the gateway: ${passed} of ${chosen.length}; ${faults} without a reason, or with one and passing\n`)
rig.stdin.end()
control.close()
await once(rig, 'exit')
await rm(folder, { recursive: true })
process.exitCode = faults === 0 ? 0 : 1
