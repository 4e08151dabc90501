import type { Scenario } from '../run.ts'
import { buckets } from './buckets.ts'
import { objects } from './objects.ts'
import { listings } from './listings.ts'
import { versions } from './versions.ts'
import { access } from './access.ts'
import { settings } from './settings.ts'

export const scenarios: readonly Scenario[] = [...buckets, ...objects, ...listings, ...versions, ...access, ...settings]
