import type { Scenario } from '../run.ts'
import type { User } from '../side.ts'
import { access } from './access.ts'
import { buckets } from './buckets.ts'
import { encryption } from './encryption.ts'
import { forms } from './forms.ts'
import { listings } from './listings.ts'
import { objects } from './objects.ts'
import { settings } from './settings.ts'
import { uploads } from './uploads.ts'
import { versions } from './versions.ts'

/** @param user whose secret signs what is signed inside a body. */
export function scenarios(user: User): readonly Scenario[] {
  return [...buckets, ...objects, ...listings, ...versions, ...access, ...settings, ...encryption, ...uploads, ...forms(user)]
}
