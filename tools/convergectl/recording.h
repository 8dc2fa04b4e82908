/*
 * A migration on disk: one record a look, as CSV or as JSON lines
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * The same names in both forms; what was not known is empty (CSV) or absent
 * (JSON).  vCPUs are "id:dirty:limit:throttle" in one CSV field, as their
 * number may change on the way.  The first record alone has the guest's name
 * and settings.  convergectl(1) tells users of each field.
 */

#ifndef CONVERGECTL_RECORDING_H
#define CONVERGECTL_RECORDING_H

#include "look.h"

typedef enum RecordFormat { RECORD_CSV, RECORD_JSON } RecordFormat;

typedef struct Recording Recording;

/* @path: "-" for stdout.  Each record is on disk when the call returns. */
Recording *recording_create(const char *path, RecordFormat format,
                            GError **errp);
gboolean recording_add(Recording *recording, const Look *look,
                       GError **errp);
void recording_close(Recording *recording);
G_DEFINE_AUTOPTR_CLEANUP_FUNC(Recording, recording_close)

/* "x.json", "x.jsonl", "x.ndjson": JSON lines; anything else: CSV */
RecordFormat recording_format_of(const char *path);

/* One record without a newline */
char *recording_json(const Look *look);
char *recording_csv(const Look *look);
const char *recording_csv_header(void);

/*
 * Reads either form, told by its first character; JSON lines may hold
 * objects of other types, which are passed over.  Returns Look pointers.
 */
GPtrArray *recording_parse(const char *text, GError **errp);
GPtrArray *recording_load(const char *path, GError **errp);

#endif
