import { constants } from 'node:fs'
import { access, readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ConfigError, type ConfigFault } from '../config-load.ts'
import type { Config } from '../config.ts'
import { readKeyring } from '../keys/keyring-file.ts'
import { KeyringError } from '../keys/keyring.ts'
import { readTls } from '../listener/tls.ts'

/**
 * Looks at the files a configuration names, which the loader does not: keyrings, certificates, the place of the audit file. As the
 * user who asks, who should be the gateway's. Writes nothing.
 * @throws ConfigError with every fault found.
 */
export async function checkFiles(config: Config, file: string): Promise<void> {
  const found = await Promise.all([keyringFaults(config), tlsFaults(config), storeCaFaults(config), auditFaults(config)])
  const faults = found.flat()
  if (faults.length > 0) throw new ConfigError(file, faults)
}

async function keyringFaults({ keys }: Config): Promise<ConfigFault[]> {
  const faults: ConfigFault[] = []
  const names = new Set<string>()
  for (const [name, key] of Object.entries(keys)) {
    if (key.type !== 'local') continue
    const fault = (message: string): void => { faults.push({ path: `keys.${name}.keyring`, message }) }
    try {
      const keyring = await readKeyring(key.keyring)
      if (names.has(keyring.name)) fault(`is named ${keyring.name}, as the keyring of another key`)
      names.add(keyring.name)
    } catch (error) {
      fault(error instanceof KeyringError ? error.message : reason(error))
    }
  }
  return faults
}

async function tlsFaults({ listen: { tls } }: Config): Promise<ConfigFault[]> {
  if (tls === null) return []
  const options = [['cert', tls.cert], ['key', tls.key], ['clientCa', tls.clientCa]] as const
  const unread = await Promise.all(options.map(async ([option, path]) => path === null ? [] : unreadable(`listen.tls.${option}`, path)))
  if (unread.flat().length > 0) return unread.flat()
  return readTls(tls).then(() => [], (error: unknown) => [{ path: 'listen.tls', message: `the files are no certificate with its key: ${reason(error)}` }])
}

async function storeCaFaults({ upstream: { ca } }: Config): Promise<ConfigFault[]> {
  return ca === null ? [] : unreadable('upstream.ca', ca)
}

async function auditFaults({ audit: { file } }: Config): Promise<ConfigFault[]> {
  if (file === null) return []
  const target = await access(file).then(() => file, () => dirname(file))
  return access(target, constants.W_OK).then(() => [], (error: unknown) => [{ path: 'audit.file', message: `cannot be written: ${reason(error)}` }])
}

async function unreadable(path: string, file: string): Promise<ConfigFault[]> {
  return readFile(file).then(() => [], (error: unknown) => [{ path, message: `cannot read ${file}: ${reason(error)}` }])
}

function reason(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? 'unknown error'
}
