import { constants } from 'node:fs'
import { access, readFile, stat } from 'node:fs/promises'
import { dirname } from 'node:path'
import { ConfigError } from '../config/load.ts'
import type { ConfigFault } from '../config/tree.ts'
import { upstreamsOfKey, type Config } from '../config/config.ts'
import { kindOf } from '../keys/configured-key.ts'
import { certificateFault } from '../listener/pem.ts'
import { readTls, TlsFileError } from '../listener/tls.ts'
import { systemWords } from '../diagnosis.ts'

/**
 * Checks the files that a configuration names, which the loader does not read: keyrings, certificates, the directory of the audit file. Runs as the
 * current user, who should be the gateway's. Writes nothing.
 * @throws ConfigError with every fault found.
 */
export async function checkFiles(config: Config, file: string): Promise<void> {
  const found = await Promise.all([keyFaults(config), tlsFaults(config), caFaults(config), auditFaults(config)])
  const faults = found.flat()
  if (faults.length > 0) throw new ConfigError(file, faults)
}

async function keyFaults({ keys, ...config }: Config): Promise<ConfigFault[]> {
  const faults: ConfigFault[] = []
  const prefixes = new Map<string, string>()
  for (const [name, key] of Object.entries(keys)) {
    const found = await kindOf(key).check(key, upstreamsOfKey(config, name).map(({ realm }) => realm))
    faults.push(...found.faults.map(({ option, message }) => ({ path: `keys.${name}.${option}`, message })))
    if (found.keyIds === null) continue
    const { option, prefix } = found.keyIds
    const other = prefixes.get(prefix)
    if (other === undefined) prefixes.set(prefix, name)
    else faults.push({ path: `keys.${name}.${option}`, message: `key ${other} has the same key ids: ${prefix}*` })
  }
  return faults
}

async function tlsFaults({ listen: { tls } }: Config): Promise<ConfigFault[]> {
  if (tls === null) return []
  return readTls(tls).then(() => [], (error: unknown) => {
    if (!(error instanceof TlsFileError)) throw error
    return error.faults.map(({ option, message }) => ({ path: `listen.tls.${option}`, message }))
  })
}

async function caFaults({ upstreams, audit }: Config): Promise<ConfigFault[]> {
  const found = await Promise.all(
    [...Object.values(upstreams), ...audit.sinks.map(({ ca }, i) => ({ section: `audit.sinks.${i}`, ca }))].map(async ({ section, ca }) => {
      if (ca === null) return []
      const message = await readFile(ca).then(certificateFault, (error: unknown) => `cannot be read: ${systemWords(error)}`)
      return message === null ? [] : [{ path: `${section}.ca`, message: `${ca} ${message}` }]
    })
  )
  return found.flat()
}

async function auditFaults({ audit: { file, sinks } }: Config): Promise<ConfigFault[]> {
  const faults: ConfigFault[] = []
  for (const [i, { tokenFile }] of sinks.entries()) {
    if (tokenFile === null) continue
    await access(tokenFile, constants.R_OK).catch((error: unknown) => {
      faults.push({ path: `audit.sinks.${i}.tokenFile`, message: `${tokenFile} cannot be read: ${systemWords(error)}` })
    })
  }
  return [...faults, ...await auditFileFaults(file)]
}

async function auditFileFaults(file: string | null): Promise<ConfigFault[]> {
  if (file === null) return []
  const fault = (why: string): ConfigFault[] => [{ path: 'audit.file', message: `${file} cannot be written: ${why}` }]
  const found = await stat(file).catch(() => null)
  if (found?.isDirectory() === true) return fault('it is a directory')
  const target = found === null ? dirname(file) : file
  const prefix = found === null ? `its directory: ` : ''
  return access(target, constants.W_OK).then(() => [], (error: unknown) => fault(prefix + systemWords(error)))
}
