/*
 * The fields of a record
 *
 * SPDX-License-Identifier: GPL-2.0-or-later
 *
 * Copyright (c) 2026 The Converge developers
 *
 * One table names every field and says where in a Look it lives, so that
 * both writers and both readers cannot disagree.
 */

#ifndef CONVERGECTL_RECORD_FIELDS_H
#define CONVERGECTL_RECORD_FIELDS_H

#include "look.h"

#include <stddef.h>

typedef enum FieldKind {
    FIELD_TEXT, FIELD_TIME, FIELD_INT, FIELD_INT64, FIELD_DOUBLE
} FieldKind;

typedef struct Field {
    const char *name;
    FieldKind kind;
    size_t offset;
} Field;

extern const Field record_fields[];
extern const size_t record_nr_fields;

/* As RFC 3339 has it, in UTC: "2026-03-01T09:30:00.250Z"; "" if negative */
char *record_time_text(gint64 ms);

double record_field_number(const Field *field, const Look *look);
void record_set_number(const Field *field, Look *look, double value);

/* Of texts and times: "" if not known */
static inline gboolean record_is_text(const Field *field)
{
    return field->kind == FIELD_TEXT || field->kind == FIELD_TIME;
}

char *record_field_text(const Field *field, const Look *look);
void record_set_text(const Field *field, Look *look, const char *text);

#endif
