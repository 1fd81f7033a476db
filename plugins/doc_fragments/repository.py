# Copyright (c) 2026, the holdfast.ops authors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Documentation of the option family `repository`; the specs are in module_utils/_arguments.py and in each store."""

from __future__ import annotations


class ModuleDocFragment:
    """The options that every module of this family takes."""

    DOCUMENTATION = r"""
options:
  component:
    description:
      - The name of what is backed up, unique within its repositories.
      - It is the directory (the key prefix) below O(repositories[].prefix) that the backups of this component lie in.
    type: str
    required: true
  repositories:
    description:
      - Where the backups rest. A backup goes to all of them in one pass; what reads takes the first one that has it.
      - Rights, policies and Object Lock are explained in C(docs/repositories.md).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the repository in results, messages and metrics.
        type: str
        required: true
      type:
        description: The kind of store. Each option below says which type it belongs to.
        type: str
        required: true
        choices: [local, s3]
      prefix:
        description: Any type. A directory (the beginning of every key) in the repository, such as V(production/web).
        type: str
      path:
        description:
          - 'O(repositories[].type=local): the absolute path of the directory, required.'
          - It is made when it is missing, and is readable by its owner only.
        type: path
      bucket:
        description: 'O(repositories[].type=s3): the name of the bucket, which must exist; required.'
        type: str
      endpoint_url:
        description:
          - 'O(repositories[].type=s3): the URL of the store, such as V(https://s3.example.com:9000).'
          - Without it, the store is AWS.
        type: str
      region:
        description:
          - 'O(repositories[].type=s3): the region of the bucket.'
          - Without it, AWS takes it from O(repositories[].profile) or the environment; any other store is told
            V(us-east-1).
        type: str
      access_key:
        description:
          - 'O(repositories[].type=s3): the access key id.'
          - Without it and O(repositories[].credentials_file), boto3 looks for credentials where it always does
            (environment, O(repositories[].profile), role of the instance or container).
        type: str
      secret_key:
        description: 'O(repositories[].type=s3): the secret that belongs to O(repositories[].access_key).'
        type: str
      secret_key_file:
        description:
          - 'O(repositories[].type=s3): a file on the host with the secret alone, instead of
            O(repositories[].secret_key).'
          - It must belong to root or to the user that the module runs as, and must not be readable by others.
        type: path
      session_token:
        description: 'O(repositories[].type=s3): the token of temporary credentials.'
        type: str
      session_token_file:
        description: 'O(repositories[].type=s3): a file on the host with O(repositories[].session_token), mode 0600.'
        type: path
      credentials_file:
        description:
          - 'O(repositories[].type=s3): a file on the host in the format of C(~/.aws/credentials), instead of
            O(repositories[].access_key) and O(repositories[].secret_key).'
          - The section is O(repositories[].profile), or C(default).
          - It must belong to root or to the user that the module runs as, and must not be readable by others.
        type: path
      profile:
        description:
          - 'O(repositories[].type=s3): the section of O(repositories[].credentials_file), or else a profile of
            C(~/.aws).'
        type: str
      addressing_style:
        description:
          - 'O(repositories[].type=s3): where the bucket stands in the URL.'
          - V(auto) means in the host name on AWS and in the path elsewhere.
        type: str
        choices: [auto, path, virtual]
        default: auto
      verify_tls:
        description: 'O(repositories[].type=s3): check the certificate of an C(https) endpoint.'
        type: bool
        default: true
      ca_file:
        description: 'O(repositories[].type=s3): a file with the certificates (PEM) of the authorities to trust.'
        type: path
      storage_class:
        description:
          - 'O(repositories[].type=s3): the storage class of new objects, such as V(STANDARD_IA).'
          - Objects in an archive class (V(GLACIER), V(DEEP_ARCHIVE)) can be neither verified nor restored until they
            were brought back from there.
        type: str
      sse:
        description: 'O(repositories[].type=s3): encryption of new objects by the store itself.'
        type: str
        choices: [none, AES256, 'aws:kms']
        default: none
      sse_kms_key_id:
        description: 'O(repositories[].sse=aws:kms): the key; without it, the default key of the bucket.'
        type: str
      object_lock_days:
        description:
          - 'O(repositories[].type=s3): nobody can delete or overwrite a new object for so many days.'
          - Needs a bucket that was made with Object Lock. What pruning deletes while it is locked is only hidden; a
            lifecycle rule for noncurrent versions frees its space later.
        type: int
      object_lock_mode:
        description:
          - 'O(repositories[].object_lock_days): V(GOVERNANCE) can be lifted by those with a special right,
            V(COMPLIANCE) by nobody at all.'
        type: str
        choices: [GOVERNANCE, COMPLIANCE]
        default: GOVERNANCE
      part_size:
        description:
          - 'O(repositories[].type=s3): the size of the parts that a stream is cut into, from V(5MiB) to V(32MiB).'
          - All repositories of a run use the smallest of theirs.
        type: str
        default: 16MiB
      max_parts:
        description:
          - 'O(repositories[].type=s3): how many parts the store takes for one object. Some take only V(1000).'
          - A longer stream goes on in the next object.
        type: int
        default: 10000
      parallel:
        description: 'O(repositories[].type=s3): how many parts are on their way at once.'
        type: int
        default: 3
      connect_timeout:
        description:
          - 'O(repositories[].type=s3): seconds to connect, and seconds in which the store must take each 256 KiB.'
        type: int
        default: 10
      read_timeout:
        description: 'O(repositories[].type=s3): seconds in which the store must answer, and then send more bytes.'
        type: int
        default: 60
      stall_timeout:
        description:
          - 'O(repositories[].type=s3): a repository that finishes no part for so many seconds is dropped from the run,
            which goes on with the others and ends as degraded.'
        type: int
        default: 120
      retries:
        description: 'O(repositories[].type=s3): further tries of a request that got no answer or a temporary refusal.'
        type: int
        default: 2
      single_pruner:
        description:
          - 'O(repositories[].type=s3): you make sure that only one place prunes this repository at a time.'
          - Needed only where the store has no conditional put; pruning says so.
        type: bool
        default: false
  state_dir:
    description:
      - A directory of this host for locks, cached manifests and the index of unchanged files.
      - Losing it costs only reading and sending again.
    type: path
    default: /var/lib/holdfast
  scratch_dir:
    description:
      - A directory for what cannot be streamed. Without it, one below O(state_dir).
    type: path
  lock_wait:
    description:
      - How long to wait for another run of this component on this host, such as V(30m).
    type: str
    default: 0s
  max_runtime:
    description:
      - A run gives up after this long, such as V(12h).
      - Must be shorter than the grace of unreferenced blobs (7 days), because it keeps the run from relying on blobs
        that are being pruned.
    type: str
    default: 6d
  progress_file:
    description:
      - A file that the progress is written to. The action plugin sets it; there is no need to.
    type: path
"""
