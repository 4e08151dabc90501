// Started by kmip.sh: the conformance suite on a PyKMIP server, and its rates.
import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import process from 'node:process'
import { setTimeout as sleep } from 'node:timers/promises'
import { DatabaseSync } from 'node:sqlite'
import t from 'tap'
import type { KmipConfig } from '../../src/config/key-config.ts'
import type { ServiceOptions } from '../../src/keys/service/connection.ts'
import { KmipKeyProvider } from '../../src/keys/providers/kmip.ts'
import { conformance } from '../keys/providers/conformance.ts'
import { keyContext, keyUse } from '../keys/support.ts'

const [venv, folder] = [process.env['KMIP_VENV'] ?? '', process.env['KMIP_FOLDER'] ?? '']
const file = (name: string) => join(folder, name)
const text = (name: string) => readFileSync(file(name), 'utf8')

const free = createServer().listen(0, '127.0.0.1')
await once(free, 'listening')
const { port } = free.address() as AddressInfo
free.close()
mkdirSync(file('policy'))
writeFileSync(
  file('server.conf'),
  [
    '[server]',
    'hostname=127.0.0.1',
    `port=${port}`,
    `certificate_path=${file('server.pem')}`,
    `key_path=${file('server.key')}`,
    `ca_path=${file('ca.pem')}`,
    'auth_suite=TLS1.2',
    `policy_path=${file('policy')}`,
    'enable_tls_client_auth=True',
    'logging_level=INFO',
    `database_path=${file('kmip.db')}`
  ].join('\n')
)
const server: { process: ChildProcess | null } = { process: null }

async function start(): Promise<void> {
  server.process = spawn(join(venv, 'bin/pykmip-server'), ['-f', file('server.conf'), '-l', file('server.log')], { stdio: 'ignore' })
  for (let i = 0; i < 200; i += 1) {
    const socket = connect(port, '127.0.0.1')
    const up = await Promise.race([once(socket, 'connect').then(() => true), once(socket, 'error').then(() => false, () => false)]).catch(() => false)
    socket.destroy()
    if (up) return
    await sleep(200)
  }
  throw new Error('PyKMIP does not listen')
}

async function stop(): Promise<void> {
  server.process?.kill('SIGKILL')
  if (server.process !== null) await once(server.process, 'exit')
  server.process = null
}

/** @returns the unique identifier of a new active AES key. */
function newKey(): string {
  const program = [
    'from kmip.pie.client import ProxyKmipClient',
    'from kmip import enums',
    `c = ProxyKmipClient(hostname='127.0.0.1', port=${port}, cert='${file('client.pem')}', key='${file('client.key')}', ca='${
      file('ca.pem')
    }', ssl_version='PROTOCOL_TLSv1_2', config_file='/dev/null')`,
    'with c:',
    '    uid = c.create(enums.CryptographicAlgorithm.AES, 256, cryptographic_usage_mask=[enums.CryptographicUsageMask.ENCRYPT, enums.CryptographicUsageMask.DECRYPT])',
    '    c.activate(uid)',
    '    print(uid)'
  ].join('\n')
  return execFileSync(join(venv, 'bin/python'), ['-c', program], { encoding: 'utf8' }).trim()
}

/** By the server's own database: over KMIP there is no way back. */
function setState(id: string, state: number): void {
  const database = new DatabaseSync(file('kmip.db'))
  database.prepare('UPDATE crypto_objects SET state = ? WHERE uid = ?').run(state, Number(id))
  database.close()
}

function open(versions: KmipConfig['versions'], label: string, options: ServiceOptions): KmipKeyProvider {
  return new KmipKeyProvider({
    config: { type: 'kmip', addresses: [`127.0.0.1:${port}`], service: 'pykmip', label, versions, ca: null, cert: '', key: '', serverName: null },
    trust: { ca: text('ca.pem'), client: { cert: text('client.pem'), key: text('client.key') }, serverName: null },
    selfTestContext: keyContext(),
    ...options
  })
}

t.setTimeout(900_000)
await start()
await conformance(t, 'kmip, PyKMIP 0.11.0', async () => {
  let versions: KmipConfig['versions'] = [{ id: newKey(), state: 'enabled' }]
  const other: KmipConfig['versions'] = [{ id: newKey(), state: 'enabled' }]
  const [first] = versions
  const inState = (state: number, code: string) => ({
    enter: async () => {
      setState(first!.id, state)
    },
    leave: async () => {
      setState(first!.id, 2)
    },
    code
  })
  return {
    open: async (options) => open(versions, 'main', options),
    openOther: async (options) => open(other, 'other', options),
    rotate: async () => {
      versions = [{ ...first!, state: 'decrypt-only' }, { id: newKey(), state: 'enabled' }]
    },
    states: { deactivated: inState(3, 'KMS.DisabledException'), compromised: inState(4, 'KMS.KMSInvalidStateException') },
    faults: {
      outage: stop,
      slow: async () => {
        server.process?.kill('SIGSTOP')
      }
    },
    heal: async () => {
      if (server.process === null) await start()
      else server.process.kill('SIGCONT')
    },
    calls: null,
    secrets: () => []
  }
})

await t.test('rates', async (t) => {
  const provider = open([{ id: newKey(), state: 'enabled' }], 'main', {})
  t.teardown(() => provider.close())
  await provider.selfTest()
  const { wrapped } = await provider.generate(keyContext(), keyUse())
  const times: number[] = []
  for (let i = 0; i < 500; i += 1) {
    const started = performance.now()
    await provider.unwrap(wrapped, keyContext(), keyUse())
    times.push(performance.now() - started)
  }
  times.sort((a, b) => a - b)
  t.comment(`500 unwraps one after the other: p50 ${times[250]!.toFixed(1)} ms, p99 ${times[495]!.toFixed(1)} ms`)
})
await stop()
