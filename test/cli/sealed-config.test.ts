import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { inspect } from 'node:util'
import t from 'tap'
import { readConfig } from '../../src/cli/sealed-config.ts'
import { createKeyring, editKeyring } from '../../src/keys/keyring-file.ts'
import { runCli } from '../support/run-cli.ts'

const CANARY = 'sealed-canary-of-32-characters!!'

await t.test('keys encrypt, the configuration with what it prints, and keys decrypt', async (t) => {
  const directory = await mkdtemp(join(tmpdir(), 'sealgate-sealed-'))
  t.teardown(() => rm(directory, { recursive: true }))
  const file = (name: string): string => join(directory, name)
  await createKeyring(file('ring'), 'main', new Date())
  const path = file('sealgate.yaml')
  const write = (secret: unknown, more: Readonly<Record<string, unknown>> = {}, comment = ''): Promise<void> =>
    writeFile(
      path,
      `${
        JSON.stringify({
          upstream: { endpoint: 'http://127.0.0.1:9', accessKeyId: 'store', secretAccessKey: secret },
          clients: [{ accessKeyId: 'c', secretAccessKey: 'client-secret-of-16' }],
          keys: { main: { type: 'local', keyring: file('ring') } },
          ...more
        })
      }${comment}`
    )
  const run = (...args: string[]) => runCli([...args, '--config', path], directory)
  await write('not yet sealed')
  await writeFile(file('secret'), `${CANARY}\n`)
  const { code, out } = await run('keys', 'encrypt', '--in', 'secret')
  t.equal(code, 0)
  t.match(out, /^sealgate-secret-1:[A-Za-z0-9_-]+\n$/)
  const sealed = out.trim()

  await write({ sealed }, {}, `\n# was: sealgate-secret-1:AAAA`)
  const config = await readConfig({ file: path, env: {} })
  t.match(config.upstreams['default']?.credentials, { secretAccessKey: CANARY })
  t.notMatch(inspect(config, { depth: 10 }), CANARY)
  const checked = await run('config', 'check')
  t.equal(checked.code, 0, checked.err)
  t.notMatch(checked.out + checked.err, CANARY)

  await writeFile(file('sealed'), out)
  t.match(await run('keys', 'decrypt', '--in', 'sealed'), { code: 0, out: `${CANARY}\n` })
  t.equal((await run('keys', 'decrypt', '--in', 'sealed', '--out', 'opened')).code, 0)
  t.equal(await readFile(file('opened'), 'utf8'), `${CANARY}\n`)
  t.match(await run('keys', 'decrypt', '--in', 'sealed', '--out', 'opened'), { code: 2, err: /--out: opened cannot be written: file already exists/ })
  t.match(await run('keys', 'encrypt', '--in', 'nowhere'), { code: 2, err: /--in: nowhere cannot be read/ })
  t.match(await run('keys', 'decrypt', '--in', 'secret'), { code: 1, err: /The sealed secret is not as it was made/ })
  t.match(await run('keys', 'encrypt', '--in', 'secret', '--key', 'other'), { code: 2, err: /--key must say which key: main\./ })

  const refused = async (words: RegExp): Promise<void> => {
    const { code, err } = await run('config', 'check')
    t.equal(code, 2)
    t.match(err, words)
    t.notMatch(err, CANARY)
  }
  await write({ sealed: `${sealed.slice(0, -4)}AAAA` })
  await refused(/a sealed secret cannot be opened: /)
  await write({ sealed: 'x' })
  await refused(/upstream\.secretAccessKey\.sealed: must be what "sealgate keys encrypt" prints|upstream\.secretAccessKey: must be a text/)
  await write('plain', {
    keys: {
      main: { type: 'local', keyring: file('ring') },
      hsm: { type: 'pkcs11', module: 'm', token: { label: 't' }, pin: { sealed }, label: 'k', versions: [{ id: '01' }] }
    },
    buckets: { '*': { key: 'main' } }
  })
  await refused(/keys\.hsm\.pin: must be a text, \{ file: PATH \} or \{ env: NAME \}/)
  await write({ sealed })
  await editKeyring(file('ring'), (ring) => ring.withState(ring.versions[0]!.id, 'disabled'))
  await refused(/a sealed secret cannot be opened: local:main:.* is disabled\./)
})
