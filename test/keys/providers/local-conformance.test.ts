import t from 'tap'
import { createKeyring, editKeyring } from '../../../src/keys/keyring-file.ts'
import { LocalKeyProvider } from '../../../src/keys/providers/local.ts'
import { temporaryDirectory } from '../support.ts'
import { conformance } from './conformance.ts'

const now = new Date('2026-07-29T00:00:00Z')

await conformance(t, 'local', async (t) => {
  const file = await temporaryDirectory(t)
  const { versions: [first] } = await createKeyring(file('ring'), 'main', now)
  await createKeyring(file('other'), 'other', now)
  const become = (state: 'disabled' | 'decrypt-only') => editKeyring(file('ring'), (keyring) => keyring.withState(first!.id, state))
  return {
    open: () => LocalKeyProvider.open(file('ring')),
    openOther: () => LocalKeyProvider.open(file('other')),
    rotate: async () => {
      await editKeyring(file('ring'), (keyring) => keyring.rotate(now))
    },
    states: {
      disabled: {
        enter: async () => {
          await become('disabled')
        },
        leave: async () => {
          await become('decrypt-only')
        },
        code: 'KMS.DisabledException'
      }
    },
    faults: {},
    heal: async () => undefined,
    calls: null,
    secrets: () => []
  }
})
