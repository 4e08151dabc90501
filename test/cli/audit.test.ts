import { execFile } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gzipSync } from 'node:zlib'
import t from 'tap'
import { GetObjectCommand, PutObjectCommand } from '@aws-sdk/client-s3'
import { startRewrapRig } from '../support/rewrap-rig.ts'
import { runCli } from '../support/run-cli.ts'

// Not that of tap: it is one for all files that run in a process.
const folder = mkdtempSync(join(tmpdir(), 'sealgate-audit-'))
t.teardown(() => {
  rmSync(folder, { recursive: true })
})
const audit = join(folder, 'audit.jsonl')
const rig = await startRewrapRig(t, { audit: { file: audit, key: 'main' } })
const verify = (...args: string[]) => runCli(['audit', 'verify', ...args], folder)
const put = (Key: string) => rig.s3.send(new PutObjectCommand({ Bucket: 'bucket', Key, Body: 'body' }))
await put('a')
// A process of its own, as far as the trail is concerned, and another key for what comes later.
t.equal((await rig.run('rewrap', '--bucket', 'bucket')).code, 0)
await rig.rotate()
t.equal((await rig.run('rewrap', '--bucket', 'bucket')).code, 0)
await rig.s3.send(new GetObjectCommand({ Bucket: 'bucket', Key: 'a' }))

await t.test('beside a gateway that writes: whole, and its run has no end yet', async (t) => {
  const { code, out, err } = await verify('--config', rig.config, '--file', audit)
  t.same([code, err], [0, ''])
  t.match(
    out,
    /^Whole: every line is as it was written\.\n\d+ lines, \d+ of them checkpoints, of 3 runs\n1 runs without an orderly end \(running, killed, or their end was cut off\):\n {2}[\w-]{22} {2}line \d+ at 20/
  )
  const inspected = await rig.run('inspect', '--object', 's3://bucket/a')
  t.match(inspected.out, /GetObject/, 'inspect reads a chained file')
})

await t.test('the keys of an auditor, rotated and packed files, the verifier in Python', async (t) => {
  const key = join(folder, 'audit.key')
  const printed = await runCli(['audit', 'key', '--config', rig.config], folder)
  t.match(printed.out, /^(local:test:[\w-]+ [0-9a-f]{64}\n){2}$/)
  const keyring = readFileSync(rig.gateway.keyring, 'utf8')
  for (const line of printed.out.trim().split('\n')) {
    t.notOk(keyring.includes(Buffer.from(line.split(' ')[1]!, 'hex').toString('base64')), 'none of the keyring')
  }
  writeFileSync(key, printed.out, { mode: 0o600 })

  renameSync(audit, `${audit}.1`)
  await put('b')
  await rig.reload()
  await put('c')
  writeFileSync(`${audit}.1.gz`, gzipSync(readFileSync(`${audit}.1`)))
  const files = [`${audit}.1.gz`, audit]
  for (const keys of [['--config', rig.config], ['--key-file', key], ['--key-file', rig.gateway.keyring]]) {
    const { code, out } = await verify(...keys, ...files.flatMap((file) => ['--file', file]), '--json')
    t.match([code, JSON.parse(out)], [0, { verdict: 'unfinished', fault: null, plain: 0, torn: 0, earlier: 0 }])
  }
  const python = (...args: string[]) =>
    promisify(execFile)('python3', ['-B', join(import.meta.dirname, '../../docs/break-glass/sealgate_audit.py'), ...args]).then(
      ({ stdout }) => [0, stdout],
      (error: unknown) => {
        const { code, stdout } = error as { code: number; stdout: string }
        return [code, stdout]
      }
    )
  t.match(await python('--keyring', rig.gateway.keyring, ...files), [0, /^whole: /])
  t.match(await python('--key-file', key, ...files), [0, /^whole: /])

  const changed = join(folder, 'changed')
  const lines = readFileSync(audit, 'utf8').split('\n')
  writeFileSync(changed, lines.with(1, lines[1]!.replace('"PutObject"', '"GetObject"')).join('\n'))
  const told = await verify('--key-file', key, '--file', `${audit}.1`, '--file', changed)
  t.equal(told.code, 4)
  t.match(told.out, /^TAMPERED: ".*changed", line 2: altered: /)
  t.match(await python('--key-file', key, `${audit}.1`, changed), [4, /changed:2: altered/])

  // The log has heads between its own words.
  const log = join(folder, 'log')
  const { run, seq, mac } = JSON.parse(lines.at(-2)!) as { run: string; seq: number; mac: string }
  writeFileSync(log, `podname ${JSON.stringify({ level: 'info', msg: 'audit checkpoint', run, seq, mac, uses: 1 })}\nnot JSON {"run":"\n`)
  writeFileSync(changed, lines.toSpliced(-2, 1).join('\n'))
  const cut = ['--key-file', key, '--file', `${audit}.1`, '--file', changed]
  t.equal((await verify(...cut)).code, 0, 'an end that was cut off looks like a crash')
  t.match(await verify(...cut, '--against', log), { code: 4, out: /^TAMPERED: ".*changed": missing: run .* ends with its line \d+; line \d+ was witnessed/ })
  t.match(await python('--key-file', key, '--against', log, `${audit}.1`, changed), [4, /missing/])
})

await t.test('what cannot be read, and wrong arguments', async (t) => {
  const plain = join(folder, 'plain')
  appendFileSync(plain, 'no keys\n', { mode: 0o600 })
  for (
    const [args, code, message] of [
      [['--config', rig.config], 2, /--file FILE must be given/],
      [['--config', rig.config, '--file', join(folder, 'none')], 2, /none" cannot be read: no such file or directory \(ENOENT\)/],
      [['--config', rig.config, '--file', audit, '--against', join(folder, 'none')], 2, /cannot be read/],
      [['--config', rig.config, '--file', audit, '--key-file', plain], 2, /either --config or --key-file/],
      [['--key-file', plain, '--file', audit], 1, /not JSON/]
    ] as const
  ) {
    const ran = await verify(...args)
    t.match(ran, { code, err: message }, args.join(' '))
  }
  writeFileSync(`${plain}.gz`, 'not packed')
  t.match(await verify('--config', rig.config, '--file', `${plain}.gz`), { code: 2, err: /cannot be read/ })
  t.match(await runCli(['audit', 'verify', '--help'], folder), { code: 0, out: /--file FILE…? .*\[--key-file FILE\]…/ })
})
