// The token that softhsm.sh has made.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'

function given(name: string): string {
  const value = process.env[name]
  if (value === undefined) throw new Error(`${name} is not set: run this by test/e2e/softhsm.sh`)
  return value
}

/** A folder that is removed at the end. */
export const work = given('WORK')
export const module = given('MODULE')
/** File with the PIN. */
export const pin = join(work, 'pin')

/** Makes a key in the token, which does not leave it. */
export function makeKey(label: string, id: string, kind: 'AES' | 'GENERIC'): void {
  const login = ['--module', module, '--token-label', 'sealgate-e2e', '--login', '--pin', readFileSync(pin, 'utf8')]
  execFileSync('pkcs11-tool', [...login, '--keygen', '--key-type', `${kind}:32`, '--label', label, '--id', id, '--sensitive'], { stdio: 'ignore' })
}

export type Versions = readonly { readonly id: string; readonly state: 'enabled' | 'decrypt-only' | 'disabled' }[]

/** A key for a configuration file. */
export function section(versions: Versions, more: Readonly<Record<string, unknown>> = {}) {
  return { type: 'pkcs11', module, token: { label: 'sealgate-e2e' }, pin: { file: pin }, label: 'master', versions, ...more }
}
